"""What is sampled: subjects, components, data and the local Gibbs posterior around trained weights."""
