"""The default detector beside its neighbours: what each finds, and how long it takes."""
