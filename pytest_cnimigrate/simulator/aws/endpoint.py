"""One HTTP endpoint for all simulated AWS services.

Point a client at it with `AWS_ENDPOINT_URL` or `endpoint_url`: nothing else in the client changes. The
service is read from the credential scope that every signed request carries; signatures are not verified,
but a request without one is refused.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from botocore.model import OperationModel

from pytest_cnimigrate.simulator.aws.access_log import AccessLog, Call
from pytest_cnimigrate.simulator.aws.errors import AwsError
from pytest_cnimigrate.simulator.aws.failures import ApiFailures
from pytest_cnimigrate.simulator.aws.operations import Operation, Parameters, Result, operations_of
from pytest_cnimigrate.simulator.aws.wire.requests import WireRequest, parse_request
from pytest_cnimigrate.simulator.aws.wire.responses import WireResponse, render_error, render_result
from pytest_cnimigrate.simulator.aws.wire.services import Service, service_for
from pytest_cnimigrate.simulator.aws.wire.validation import violations, without_secrets
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.cloud import CloudError

log = logging.getLogger("cnimigrate.simulator.aws")

LATENCY = 0.15
"""Simulated seconds until an answer: what the control plane's APIs take from within the region."""

_SCOPE = re.compile(r"Credential=[^/\s,]+/\d{8}/(?P<region>[^/\s,]+)/(?P<service>[^/\s,]+)/aws4_request")
_PRESIGNED = re.compile(r"[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_VALIDATION_CODES = {"rest-json": "InvalidParameterException", "query": "ValidationError"}


class Endpoint:
    """Takes requests apart, lets `backends` (botocore's service name -> objects) answer them, logs them."""

    def __init__(
        self,
        backends: Mapping[str, Sequence[object]],
        *,
        region: str,
        pace: Pace,
        failures: ApiFailures,
    ) -> None:
        self.access_log = AccessLog()
        self.failures = failures
        self._region = region
        self._pace = pace
        self._operations: dict[str, dict[str, Operation]] = {
            service: {name: one for part in parts for name, one in operations_of(part).items()}
            for service, parts in backends.items()
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one HTTP request; a handler for `aiohttp.web.Server`."""
        wire_request = WireRequest(
            method=request.method,
            path=request.rel_url.raw_path,
            query=tuple(request.query.items()),
            headers=request.headers,
            body=await request.read(),
        )
        response = await self._answer(wire_request)
        return web.Response(status=response.status, body=response.body, headers=response.headers)

    async def _answer(self, request: WireRequest) -> WireResponse:
        request_id = str(uuid.uuid4())
        try:
            service = self._service_of(request)
        except AwsError as error:
            form = "x-www-form-urlencoded" in request.headers.get("Content-Type", "")
            return render_error("query" if form else "rest-json", error, request_id=request_id)
        operation: OperationModel | None = None
        parameters: dict[str, Any] = {}
        error_code = ""
        try:
            operation, parameters = parse_request(service, request)
            result = await self._perform(service, operation, parameters)
            response = render_result(service, operation, result, request_id=request_id)
        except AwsError as error:
            error_code = error.code
            response = render_error(service.protocol, error, request_id=request_id)
        except Exception:
            # A bug of the simulator: say so where it is looked for, and stay up.
            log.exception("%s %s failed", service.name, operation.name if operation else request.path)
            error_code = "InternalFailure"
            internal = AwsError("InternalFailure", "the simulator failed; see its log", status=500)
            response = render_error(service.protocol, internal, request_id=request_id)
        self.access_log.add(
            Call(
                service=service.name,
                operation=operation.name if operation else "",
                parameters=without_secrets(operation.input_shape, parameters) if operation else {},
                status=response.status,
                error_code=error_code,
                request_id=request_id,
                user_agent=request.headers.get("User-Agent", ""),
            )
        )
        return response

    def _service_of(self, request: WireRequest) -> Service:
        scope = _SCOPE.search(request.headers.get("Authorization", ""))
        if scope is None:
            scope = _PRESIGNED.fullmatch(dict(request.query).get("X-Amz-Credential", ""))
        if scope is None:
            raise AwsError("MissingAuthenticationToken", "Missing Authentication Token", status=403)
        service = service_for(scope["service"])
        if service is None:
            raise AwsError(
                "NotImplemented", f"the simulator does not have the service {scope['service']}", status=501
            )
        # STS may be asked at its global endpoint, which signs for us-east-1.
        if scope["region"] != self._region and service.name != "sts":
            raise AwsError(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region: the simulated account lives in "
                f"{self._region}, the request is for {scope['region']}.",
                status=403,
            )
        return service

    async def _perform(self, service: Service, model: OperationModel, parameters: Parameters) -> Result:
        await self._pace.sleep(LATENCY, jitter=0.5)
        self.failures.check(service.name, model.name)
        simulated = self._operations.get(service.name, {}).get(model.name)
        if simulated is None:
            raise AwsError(
                "NotImplemented", f"the simulator does not have {service.name} {model.name}", status=501
            )
        wrong = list(violations(model.input_shape, parameters))
        wrong += [
            f"{name}: {service.name} {model.name} of the simulator does not have this parameter"
            for name in parameters
            if name not in simulated.accepts
        ]
        if wrong:
            raise AwsError(_VALIDATION_CODES.get(service.protocol, "InvalidParameterValue"), "; ".join(wrong))
        try:
            return await simulated.handler(parameters)
        except CloudError as error:
            raise AwsError(error.code, error.message) from error
