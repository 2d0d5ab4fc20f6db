"""Songs, sounds, stems rendered from sounds, and training examples made of them."""
