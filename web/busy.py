"""What the server says when it has too much to do for the moment."""


class NetworksBusy(RuntimeError):
    """Others are using detector and embedder; the same request may succeed a little later."""


class ClipsBusy(RuntimeError):
    """Other moments of video are being cut; the same request may succeed a little later."""
