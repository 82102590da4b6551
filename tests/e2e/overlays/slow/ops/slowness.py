import time


class SlownessMiddleware:
    """Every page but `/healthz/` takes five seconds."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path != "/healthz/":
            time.sleep(5)
        return self.get_response(request)
