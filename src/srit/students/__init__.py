"""The model that learns: where its weights come from, how it is prompted, and how it is saved."""
