"""One kind of each: a teacher, an engine, a loss and a family of tasks that srit does not have."""
