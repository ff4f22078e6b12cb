"""The model that learns: where its weights come from, what it is asked, and how it is saved."""
