"""Tables, figures and the gallery: what people read, made from the files of one run.

Everything here reads what evaluation and interpretation wrote and computes no score of its own.
"""
