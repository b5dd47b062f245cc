"""What comes in: one pydantic model per operation, described for the models that call it.

One file for each noun, as in ``operations``. Field names are those of the domain's commands; the
few that differ stand in ``convert.py``. Sizes are limited here, so that nothing oversized gets
further. What goes out is not defined here: it is the features' result structs.
"""
