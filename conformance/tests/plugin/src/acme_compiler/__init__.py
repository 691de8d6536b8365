"""A torch.compile backend: `torch.compile(model, backend="acme")`."""
