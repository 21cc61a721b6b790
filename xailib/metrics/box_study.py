"""Does the network use the object, or what is around it? The bounding-box study (thesis, table 2.5).

Five masks for the same image, with S the map, U the union of the true boxes and I the whole image. Give each of them to
`masked_probabilities`, as if it were a map, and compare AD, AG and AI:

    map       S                 what the method found
    box       S := U            the object alone
    context   S := I \\ U        everything but the object
    inside    U and S: S U      the part of the map on the object
    outside   S \\ U: S (1 - U)  the part of the map beside it

If the context serves the network better than the box, a metric of localisation does not measure faithfulness.
"""

from jaxtyping import Float
from torch import Tensor

from xailib.metrics.boxes import Boxes, box_masks, placed_boxes
from xailib.metrics.faithfulness import check_masks


def box_study(
    maps: Float[Tensor, "b H W"], boxes: Boxes, *, preset: str = "clean"
) -> dict[str, Float[Tensor, "b H W"]]:
    """The five masks of the study, by name; they are not normalised again.

    `preset="thesis_legacy"` makes U as the code of the thesis does, which leaves it empty for some boxes that cross the
    border (see `boxes`). Raises ValueError for maps outside [0, 1], bad boxes, an image without a box, another preset.
    """
    check_masks(maps)
    unboxed = [i for i, one in enumerate(placed_boxes(boxes, maps, preset=preset)) if len(one) == 0]
    if unboxed:
        raise ValueError(f"no box lies in images {unboxed}; leave them out of the study and count them")
    U = box_masks(boxes, maps, preset=preset).to(maps)
    return {"map": maps, "box": U, "context": 1 - U, "inside": maps * U, "outside": maps * (1 - U)}
