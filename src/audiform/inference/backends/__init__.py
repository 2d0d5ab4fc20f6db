"""What runs a network's core: torch, torch with CUDA graphs, OpenVINO; and which is best here."""
