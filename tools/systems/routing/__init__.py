"""What moves a model's live requests between versions: the gateway, HAProxy, a name server, KServe."""
