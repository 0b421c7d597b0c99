"""The demo's pictures: real photographs, and what networks and simulated pipelines make of them."""
