"""The systems of Table 3 that the VAE is compared with, built from their papers."""
