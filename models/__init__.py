"""What is predicted, and how well: values in, values out."""
