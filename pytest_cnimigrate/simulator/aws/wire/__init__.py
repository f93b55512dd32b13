"""AWS wire formats, driven by botocore's service models: the server's half of what botocore does.

botocore serialises requests and parses responses; here it is the other way round. Nothing in this package
knows an operation by name: rest-json, query and ec2 are read from and written to shapes.
"""
