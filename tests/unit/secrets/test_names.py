"""Names of variables and files: what is masked because of its name is withheld from forks, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rondel.ci.providers import detect
from rondel.ci.trust import restrict
from rondel.secrets.names import SESSION_TOKEN, is_secret, is_secret_file
from rondel.secrets.values import secret_values
from rondel.settings import load_settings

SECRET = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "aws_access_key_id",
    "MINIO_SECRET_KEY",
    "MINIO_ROOT_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_KEY_BACKUP",
    "TEAM_STORAGE_ACCOUNT_KEY_2",
    "AZURE_SAS",
    "BLOB_SAS_URL",
    "AZURE_DEVOPS_EXT_PAT",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "ARM_CLIENT_SECRET",
    "OCP_APIM_SUBSCRIPTION_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CREDENTIALS",
    "GOOGLE_API_KEY",
    "GCP_SERVICE_ACCOUNT_KEY",
    "GDRIVE_CREDENTIALS_DATA",
    "CLOUDFLARE_API_TOKEN",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "HCLOUD_TOKEN",
    "VAULT_TOKEN",
    "CONSUL_HTTP_TOKEN",
    "OSS_ACCESS_KEY_SECRET",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_JOB_JWT",
    "CI_JOB_JWT_V2",
    "GITLAB_TOKEN",
    "DOCKER_AUTH_CONFIG",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GH_PAT",
    "ACTIONS_RUNTIME_TOKEN",
    "JENKINS_API_TOKEN",
    "SYSTEM_ACCESSTOKEN",
    "BITBUCKET_APP_PASSWORD",
    "CIRCLE_TOKEN",
    "SONAR_TOKEN",
    "CODECOV_TOKEN",
    "RENOVATE_TOKEN",
    "DEPLOY_PAT",
    "DEPLOY_PAT_RO",
    "DEPLOY_KEY",
    "DEPLOY_TOKEN",
    "SSH_PRIVATE_KEY",
    "SSH_KEY",
    "ID_RSA_PASSPHRASE",
    "SSHPASS",
    "RONDEL_GIT_TOKEN",
    "RONDEL_SIGNING_KEY",
    "SIGNING_KEY",
    "GPG_PRIVATE_KEY",
    "GPG_PASSPHRASE",
    "COSIGN_PASSWORD",
    "TLS_KEY_PEM",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "DATABRICKS_TOKEN",
    "DATABRICKS_CLIENT_SECRET",
    "WANDB_API_KEY",
    "COMET_API_KEY",
    "NEPTUNE_API_TOKEN",
    "CLEARML_API_SECRET_KEY",
    "DAGSHUB_USER_TOKEN",
    "DVC_STUDIO_TOKEN",
    "CML_TOKEN",
    "KAGGLE_KEY",
    "KAGGLE_API_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "ANTHROPIC_API_KEY",
    "COHERE_API_KEY",
    "ROBOFLOW_API_KEY",
    "LABEL_STUDIO_API_KEY",
    "PINECONE_API_KEY",
    "NPM_TOKEN",
    "NODE_AUTH_TOKEN",
    "NPM_CONFIG__AUTH",
    "npm_config__authToken",
    "TWINE_PASSWORD",
    "PYPI_TOKEN",
    "PYPI_API_TOKEN",
    "UV_PUBLISH_TOKEN",
    "UV_INDEX_PRIVATE_PASSWORD",
    "POETRY_PYPI_TOKEN_PYPI",
    "POETRY_HTTP_BASIC_PRIVATE_PASSWORD",
    "CARGO_REGISTRY_TOKEN",
    "RUBYGEMS_API_KEY",
    "ARTIFACTORY_APIKEY",
    "DOCKER_PASSWORD",
    "DOCKERHUB_PAT",
    "HELM_REPO_PASS",
    "PGPASSWORD",
    "POSTGRES_PASSWORD",
    "POSTGRES_PASSWORD_FILE",
    "MYSQL_PWD",
    "DB_PASS",
    "DB_PASSWD",
    "REDISCLI_AUTH",
    "SENTRY_DSN",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    "AIRFLOW__CORE__FERNET_KEY_SECRET",
    "SLACK_WEBHOOK_SECRET",
    "SLACK_BOT_TOKEN",
    "TELEGRAM_TOKEN",
    "STRIPE_KEY",
    "SECRET_KEY_BASE",
    "DJANGO_SECRET_KEY",
    "RAILS_MASTER_KEY",
    "ENCRYPTION_KEY",
    "BASIC_AUTH",
    "CREDENTIALS",
    "my-api-key",
    "db.password",
]

PLAIN = [
    "TOKENIZERS_PARALLELISM",
    "TOKENIZER_NAME",
    "SECRETS_PATH",
    "SECRETS_DIR",
    "KEYBOARD",
    "KEYBOARD_LAYOUT",
    "MONKEY",
    "PATH",
    "PWD",
    "OLDPWD",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TERM",
    "COMPASS",
    "BYPASS",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "SSH_CONNECTION",
    "GPG_KEY",
    "PUBLIC_KEY",
    "SSH_PUBLIC_KEY",
    "SSH_KNOWN_HOSTS",
    "CACHE_KEY",
    "JOIN_KEY",
    "PRIMARY_KEY",
    "SORT_KEY",
    "PARTITION_KEY",
    "MAX_TOKENS",
    "MAX_NEW_TOKENS",
    "NUM_INPUT_TOKENS",
    "TOKENS_PER_BATCH",
    "COST_PER_TOKEN",
    "PAD_TOKEN",
    "EOS_TOKEN",
    "TOKEN_COUNT",
    "TOKEN_URL",
    "TOKEN_TYPE",
    "TOKEN_TTL",
    "OAUTH_TOKEN_ENDPOINT",
    "PASSWORD_MIN_LENGTH_LIMIT",
    "SECRET_NAME",
    "AUTHOR",
    "AUTH_PROVIDER",
    "RONDEL_SECRETS",
    "RONDEL_COMMIT",
    "RONDEL_PUSH",
    "DVC_REMOTE_URL",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_S3_ENDPOINT_URL",
    "KAGGLE_USERNAME",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "GOOGLE_CLOUD_PROJECT",
    "CI",
    "CI_COMMIT_SHA",
    "CI_COMMIT_REF_NAME",
    "CI_PIPELINE_ID",
    "CI_REGISTRY",
    "CI_REGISTRY_USER",
    "GITHUB_ACTIONS",
    "GITHUB_SHA",
    "JENKINS_URL",
    "BUILD_ID",
    "NODE_ENV",
    "npm_config_cache",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "TWINE_USERNAME",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "PGHOST",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "PATTERN",
    "SPATIAL_INDEX",
    "COMPATIBILITY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PASSENGERS",
    "SASL_MECHANISM",
]


@dataclass(frozen=True)
class Case:
    masked: bool
    withheld: bool


def seen(name: str, tmp_path) -> Case:
    value = "the-value-of-it-0123"
    environ = {
        "GITLAB_CI": "true",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2",
        "CI_PROJECT_ID": "1",
        name: value,
    }
    context = detect(environ)
    assert context is not None
    assert context.fork
    _, withheld = restrict(load_settings(tmp_path, {}, {}), context, environ)
    return Case(masked=value in secret_values(environ), withheld=name in withheld)


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_is_masked_and_withheld_from_forks(name: str, tmp_path) -> None:
    assert is_secret(name)
    assert seen(name, tmp_path) == Case(masked=True, withheld=True)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_secret_is_neither_masked_nor_taken_for_one(name: str) -> None:
    assert not is_secret(name)
    assert secret_values({name: "the-value-of-it-0123"}) == ()


def test_addresses_are_withheld_from_forks_but_not_masked(tmp_path) -> None:
    assert seen("MLFLOW_TRACKING_URI", tmp_path) == Case(masked=False, withheld=True)
    assert seen("PATH", tmp_path) == Case(masked=False, withheld=False)


def test_the_engines_own_token_is_masked_but_left_to_a_fork_whose_run_needs_it(tmp_path) -> None:
    assert seen(SESSION_TOKEN, tmp_path) == Case(masked=True, withheld=False)


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (".env", True),
        ("deploy/.env.production", True),
        (".env.example", False),
        ("keys/server.pem", True),
        ("credentials.json", True),
        (".dvc/config.local", True),
        (".dvc/config", False),
        ("environment.py", False),
        ("monkey", False),
    ],
)
def test_files_that_hold_secrets_by_their_name(path: str, secret: bool) -> None:
    assert is_secret_file(path) is secret
