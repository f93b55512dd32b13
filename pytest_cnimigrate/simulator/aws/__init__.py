"""AWS as a cluster's owner sees it: EKS, EC2, Auto Scaling and STS over their wire protocols; the VPC.

`AwsCloud` is all that the rest of the simulator needs. What is not simulated answers 501 and its name.
"""

from pytest_cnimigrate.simulator.aws.account import AwsCloud as AwsCloud
from pytest_cnimigrate.simulator.aws.account import NodeGroupSpec as NodeGroupSpec
from pytest_cnimigrate.simulator.aws.errors import AwsError as AwsError
from pytest_cnimigrate.simulator.aws.settings import AwsSettings as AwsSettings
