"""Where models answer: the gateway, its challenger processes and the prediction log."""
