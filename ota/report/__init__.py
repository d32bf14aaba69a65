"""Tables, plots and documents: core values turned into what people and machines read; prints nothing itself."""
