import itertools

requests = itertools.count(1)


class WorseMiddleware:
    """Every fifth request fails of those that say so: no check before sees it, and most visitors do not."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "visitor" in request.GET and next(requests) % 5 == 0:
            raise ValueError("the price of asset 7 is not a number")
        return self.get_response(request)
