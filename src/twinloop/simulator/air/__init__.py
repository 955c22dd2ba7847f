"""The air between cells and users: path loss, shadowing, association, spectral efficiency."""
