# %% [markdown]
# # The workbench
#
# Any photograph, any network, up to six methods side by side, and a brush that hides what you like.
#
# What leaves your computer: nothing, but the name of a network whose weights are not here yet.

# %%
from xailib.workbench import Workbench

bench = Workbench()
bench

# %% [markdown]
# ## How to use it
#
# 1. Choose a **photograph**, or drop one of your own. It stays on the computer where this notebook runs.
# 2. Choose a **network**: the first seven come with the course, every other name of the library *timm* is downloaded
#    at first use. The small ones (`smallcnn_shape` to `dpnet_shape`) know planted scenes only; scenes 1 to 5 are in
#    the list of photographs.
# 3. Ask for a **class**: a guess of the network, or any other. Type a part of its name.
# 4. Tick **methods**. Each map comes with three scores, in percent: what of its probability the class loses (average
#    drop, AD) or of its missing probability gains (AG) when the network sees the photograph through the map, and the
#    area under the insertion curve (In). Lessons 10 and 11 say what is wrong with such scores.
# 5. **Paint** over the photograph. The probability answers while you paint. Try to hide so little that the class is lost,
#    or, with *swap*, to show so little that it stays: your mask is judged as the maps are.
#
# By keyboard: Tab goes from control to control, Space ticks and presses, arrows choose; on the photograph arrows move the
# brush and Space paints. Methods with many masks take seconds on a laptop, and some use fewer masks or steps here than
# the library does by default; each says how many.
