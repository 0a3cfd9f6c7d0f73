"""How the committed encoders were pretrained: by labels of another cohort, and by SimCLR."""
