"""The training loop: many steps a call, exact to resume."""
