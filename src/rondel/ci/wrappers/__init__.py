"""CI files such as ``.gitlab-ci.yml``: the jobs that a pipeline becomes, and the regions that hold them."""
