"""The weights that were published with the paper, as weights of our modules.

What can be read: the video model (a folder as diffusers writes it), the three inverse dynamics models of stage II, and the action
model of stage III, which holds inverse dynamics, video former and head. Every name is accounted for: taken, known and dropped, or
refused.

What was not run: none of the published files was at hand. The names and shapes are those that the published code gives its modules,
and the arithmetic of each module was compared with an independent statement of the published one on random weights. The decoders of
stage II were not published with their code; whatever ends in ``decoder`` is taken for one and dropped.
"""
