"""NRRD, NIfTI and MetaImage: one header, then voxels as they are or in one compressed piece."""
