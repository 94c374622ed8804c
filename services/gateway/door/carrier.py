"""From the door to a service and back, in the trace and in the name of who asks."""

from collections.abc import Mapping

from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from services.gateway.door.arrival import Arrival
from services.gateway.errors import ClientSlow, ServiceTimeout, ServiceUnreachable
from services.gateway.identity.passes import Passes
from services.gateway.proxy.errors import ClientTooSlow, UpstreamTimeout, UpstreamUnreachable
from services.gateway.proxy.forward import Forwarder, Request
from services.gateway.proxy.routing import takes_password
from shared.errors import DomainError
from shared.security.internal import HEADER
from shared.telemetry import span, traceparent_of

CARRIED = Counter("stowage_gateway_carried_total", "Requests by service and class of answer", ["service", "status"])


class Carrier:
    def __init__(self, forwarders: Mapping[str, Forwarder], passes: Passes) -> None:
        self._forwarders = forwarders
        self._passes = passes

    async def carry(self, service: str, arrival: Arrival, target: bytes) -> None:
        """Relays the answer. Raises DomainError while nothing has been answered."""
        name = f"gateway {arrival.method} {'/'.join(arrival.path.split('/')[:4])}"
        # The door has taken the client's out unless it is to be trusted.
        with span(name, parent=arrival.header(b"traceparent"), kind=SpanKind.SERVER) as current:
            own = {
                b"host": service.encode(),
                HEADER.encode(): self._passes.issue(arrival.principal, service),
                b"stowage-client-address": arrival.address.encode("latin-1", "replace"),
            }
            if (traceparent := traceparent_of(current)) is not None:
                own[b"traceparent"] = traceparent.encode()
            if (password := _password(arrival)) is not None:
                own[b"authorization"] = password
            try:
                request = Request(arrival.method, target, arrival.headers, arrival.length, own, arrival.meter.hear)
                status = await _forward(self._forwarders[service], request, arrival)
            except DomainError as error:
                error.extras["trace_id"] = f"{current.get_span_context().trace_id:032x}"
                CARRIED.labels(service, f"{error.status // 100}xx").inc()
                raise
            current.set_attribute("http.response.status_code", status)
        CARRIED.labels(service, f"{status // 100}xx").inc()


def _password(arrival: Arrival) -> bytes | None:
    """A link's. Credentials of people, which are bearer tokens, stay at the door."""
    said = arrival.header(b"authorization") or ""
    basic = said.partition(" ")[0].lower() == "basic"
    return said.encode("latin-1") if basic and takes_password(arrival.path) else None


async def _forward(forwarder: Forwarder, request: Request, arrival: Arrival) -> int:
    try:
        return await forwarder.forward(request, arrival.receive, arrival.send, arrival.meter.drain)
    except UpstreamTimeout as error:
        raise ServiceTimeout from error
    except UpstreamUnreachable as error:
        raise ServiceUnreachable from error
    except ClientTooSlow as error:
        raise ClientSlow from error
