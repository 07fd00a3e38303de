"""COCO's data: annotation files, masks, training batches, and a generated set.

``annotations`` reads and checks a file, ``masks`` decodes its masks, ``batches`` loads and augments
images for training, ``scenes`` generates a set, ``find`` finds the files of a data set.
"""
