//! What holds for every aggregate: tests over all of them at once.
