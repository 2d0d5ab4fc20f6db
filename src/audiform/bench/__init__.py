"""Time, memory and equality of our programs against others', as whole processes."""
