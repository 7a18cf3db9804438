"""Where the labels of depth, segments and flow come from: frozen vision models, or the twin that knows them."""
