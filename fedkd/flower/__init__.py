"""All that touches the private parts of Flower, or works round them."""
