"""The endpoint itself: any AWS client works against it, and it never pretends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import requests
from aws_rig import CLUSTER
from botocore.exceptions import ClientError

from pytest_cnimigrate.simulator.aws import AwsError
from pytest_cnimigrate.simulator.faults import KNOWN

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-west-1/{service}/aws4_request, "
    "SignedHeaders=host, Signature=0"
)


def ask(rig, path="/", *, method="GET", body=None, service="eks", **headers):
    """A request by hand: status, headers and text of the answer."""
    if service:
        headers["Authorization"] = AUTHORIZATION.format(service=service)
    response = requests.request(method, rig.url + path, data=body, headers=headers, timeout=10)
    return response.status_code, response.headers, response.text


@pytest.fixture
def no_waiting(monkeypatch):
    """Retries of botocore without their delay."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)


def test_the_endpoint_variable_is_all_that_a_client_needs(rig):
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": rig.url,
        "AWS_REGION": "us-west-1",
        "AWS_DEFAULT_REGION": "us-west-1",
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "123456789012"


def test_sts_tells_who_is_calling(rig):
    identity = rig.client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/rehearsal"


def test_a_request_without_credentials_is_refused(rig):
    status, _, text = ask(rig, "/clusters", service="")
    assert status == 403
    assert json.loads(text)["message"] == "Missing Authentication Token"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, text = ask(rig, method="POST", body=b"Action=DescribeVpcs", service="", **form)
    assert status == 403
    assert "<Code>MissingAuthenticationToken</Code>" in text


def test_a_presigned_url_is_as_good_as_a_header(rig):
    """An EKS token consists of such a URL."""
    url = rig.client("sts").generate_presigned_url("get_caller_identity")
    status, _, text = ask(rig, url.removeprefix(rig.url), service="")
    assert status == 200
    assert "<Account>123456789012</Account>" in text


def test_another_region_has_nothing_of_ours(rig):
    eks = rig.client("eks", region="eu-west-1")
    with pytest.raises(ClientError, match="lives in us-west-1, the request is for eu-west-1"):
        eks.list_clusters()


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("eks", lambda client: client.list_fargate_profiles(clusterName=CLUSTER)),
        ("ec2", lambda client: client.describe_images()),
        ("autoscaling", lambda client: client.describe_policies()),
        ("elbv2", lambda client: client.describe_load_balancers()),
        ("iam", lambda client: client.list_roles()),
    ],
)
def test_what_is_not_simulated_says_so_by_name(cluster, service, call):
    client = cluster.client(service, region="us-east-1" if service == "iam" else "us-west-1")
    with pytest.raises(ClientError, match="the simulator does not have") as caught:
        call(client)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_what_no_service_has_is_an_error_of_another_kind(rig):
    status, headers, _ = ask(rig, "/nowhere")
    assert (status, headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, text = ask(rig, method="POST", body=b"Action=Fly", service="ec2", **form)
    assert status == 400
    assert "<Code>InvalidAction</Code>" in text


def test_parameters_that_are_not_simulated_are_named_and_not_ignored(cluster):
    eks = cluster.client("eks")
    with pytest.raises(eks.exceptions.InvalidParameterException, match=r"launchTemplate: .* does not have"):
        eks.create_nodegroup(
            clusterName=CLUSTER,
            nodegroupName="ng",
            subnets=["subnet-1"],
            nodeRole="arn:aws:iam::1:role/r",
            launchTemplate={"name": "mine"},
        )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not a JSON object"),
        (b'{"nodeRole": "r", "subnets": ["s"]}', "nodegroupName is required"),
        (b'{"nodegroupName": "n", "nodeRole": "r", "subnets": "s"}', "subnets: expected list"),
        (b'{"nodegroupName": 3, "nodeRole": "r", "subnets": []}', "nodegroupName: expected string"),
        (
            b'{"nodegroupName": "n", "nodeRole": "r", "subnets": [], "scalingConfig": {"minSize": -1}}',
            "scalingConfig.minSize: the value must be at least 0",
        ),
        (
            b'{"nodegroupName": "n", "nodeRole": "r", "subnets": [], "taints": [{"effect": "NoExecute"}]}',
            "taints[0].effect: 'NoExecute' is not one of NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE",
        ),
    ],
)
def test_requests_that_boto3_would_not_send_are_refused_naming_the_field(cluster, body, message):
    status, _, text = ask(cluster, f"/clusters/{CLUSTER}/node-groups", method="POST", body=body)
    assert status == 400
    assert message in json.loads(text)["message"]


def test_errors_carry_the_fields_of_their_shape_and_a_request_id(cluster):
    eks = cluster.client("eks")
    with pytest.raises(eks.exceptions.ResourceNotFoundException) as caught:
        eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="gone")
    assert caught.value.response["nodegroupName"] == "gone"
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("eks", lambda client: client.list_clusters(), "ThrottlingException"),
        ("ec2", lambda client: client.describe_vpcs(), "RequestLimitExceeded"),
        ("autoscaling", lambda client: client.describe_auto_scaling_groups(), "Throttling"),
    ],
)
def test_throttled_calls_succeed_for_clients_that_retry(rig, no_waiting, service, call, code):
    rig.faults.activate("aws-throttling")
    patient = rig.client(service, retries={"max_attempts": 3, "mode": "standard"})
    assert call(patient)["ResponseMetadata"]["RetryAttempts"] == 1
    hasty = rig.client(service, retries={"max_attempts": 0})
    with pytest.raises(ClientError) as caught:
        call(hasty)
    assert caught.value.response["Error"]["Code"] == code


def test_expired_credentials_fail_every_call(rig):
    rig.faults.activate("aws-credentials-expired")
    with pytest.raises(ClientError, match="ExpiredTokenException"):
        rig.client("eks").list_clusters()
    with pytest.raises(ClientError, match="ExpiredToken"):
        rig.client("sts").get_caller_identity()
    rig.faults.clear("aws-credentials-expired")
    assert rig.client("eks").list_clusters()["clusters"] == []


def test_an_operation_can_be_made_to_fail_a_number_of_times(rig):
    eks = rig.client("eks", retries={"max_attempts": 0})
    error = AwsError("ServerException", "boom", status=500)
    rig.call(rig.cloud.failures.inject, "eks", "ListClusters", error, count=2)
    for _ in range(2):
        with pytest.raises(eks.exceptions.ServerException, match="boom"):
            eks.list_clusters()
    assert eks.list_clusters()["clusters"] == []


def test_every_call_is_on_record_with_its_outcome_and_without_secrets(cluster):
    eks = cluster.client("eks")
    eks.list_nodegroups(clusterName=CLUSTER, maxResults=7)
    with pytest.raises(ClientError):
        eks.describe_cluster(name="nowhere")
    first, second = cluster.cloud.access_log.calls("eks")
    assert (first.operation, first.status, first.error_code) == ("ListNodegroups", 200, "")
    assert first.parameters == {"clusterName": CLUSTER, "maxResults": 7}
    assert first.user_agent.startswith("Boto3/")
    assert (second.operation, second.status, second.error_code) == (
        "DescribeCluster",
        404,
        "ResourceNotFoundException",
    )
    assert cluster.cloud.access_log.calls("eks", "DescribeCluster") == [second]
    assert "Signature" not in repr(cluster.cloud.access_log.calls())


def test_the_faults_of_this_part_are_registered_with_where_they_were_seen():
    ours = [
        "aws-throttling",
        "aws-credentials-expired",
        "nodegroup-insufficient-addresses",
        "nodegroup-instance-launch-failure",
        "nodegroup-drops-taint",
        "nodegroup-security-group-closed",
        "nodegroup-update-fails",
        "instance-termination-leaks-interfaces",
        "add-on-reverts-changes",
    ]
    for name in ours:
        assert KNOWN[name].effect.endswith(".")
        assert KNOWN[name].source


def test_a_bug_of_the_simulator_is_a_500_and_in_the_log(rig, monkeypatch, caplog):
    def broken(name):
        raise RuntimeError("bug")

    monkeypatch.setattr(rig.cloud._eks.clusters, "get", broken)
    with pytest.raises(ClientError, match="the simulator failed; see its log"):
        rig.client("eks", retries={"max_attempts": 0}).describe_cluster(name="c")
    assert "eks DescribeCluster failed" in caplog.text
