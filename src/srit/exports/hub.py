"""Uploads an export to the Hugging Face hub, or to the server that HF_ENDPOINT names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from srit.errors import MachineError, RecipeError

Holds = Literal["model", "dataset"]


def require_push(repository: str) -> None:
    """Check a push as far as possible before anything is made for it.

    Raises:
        RecipeError: the repository's name is not valid, or nobody is logged in.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise RecipeError(f"--push: {error}") from None
    if "/" not in repository:
        raise RecipeError(f"--push: {repository!r} has no owner: write USER/NAME")
    if get_token() is None:
        raise RecipeError("--push: not logged in to the hub: run hf auth login, or set HF_TOKEN")


def push(folder: Path, repository: str, holds: Holds, *, public: bool) -> str:
    """Upload a folder as one commit; create the repository if it does not exist.

    Args:
        repository: USER/NAME.
        public: whether anyone may see it.

    Returns:
        Its address.

    Raises:
        RecipeError: the repository is public, and `public` is false.
        MachineError: the hub refuses or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        address = hub.create_repo(repository, private=not public, repo_type=holds, exist_ok=True)
        if not public and not hub.repo_info(repository, repo_type=holds).private:
            raise RecipeError(f"--push: {repository} exists and is public: add --public, or choose another name")
        hub.upload_folder(
            repo_id=repository, folder_path=folder, repo_type=holds, commit_message=f"Export of srit: {folder.name}"
        )
    except RecipeError:
        raise
    except Exception as error:  # of the HTTP library, which differs between versions of huggingface_hub
        said = str(error.__cause__ or error).strip().rstrip(".").splitlines()
        raise MachineError(
            f"--push: {repository}: {said[0] if said else type(error).__name__}. {folder} is whole: "
            f"hf upload {repository} {folder}"
        ) from None
    return str(address)
