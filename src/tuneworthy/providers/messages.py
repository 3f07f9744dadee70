"""Every sentence of this folder that a person reads."""

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # Connections
        "other_tokens": "The server generated tokens other than those of the label, so its labels cannot be ranked.",
        # Addresses and keys
        "use_key_variable": "Put the key in an environment variable and set api_key_env to its name.",
        "fix_address": "Fix base_url or url in the project file.",
        # Model files
        "fix_model": "Fix the `model` setting.",
        "pull_again": "Run `tuneworthy models pull MODEL` again.",
        "several_gguf": "{spec} has several GGUF files: {names}.",
        "name_one": "Choose one of them, such as {name}.",
        "distrust_archive": "Do not trust this archive.",
        # What may be loaded
        "file_too_large": "{path} has {found} bytes, more than the limit of {most}.",
        "not_utf8": "{path} is not valid UTF-8 ({reason}).",
        "unknown_type": "{what} has the unknown type {kind}",
        "too_long": "{what} has {found} bytes, more than the limit of {most}",
        "too_many": "it declares {count} {what}, more than the limit of {most}",
        "ends_early": "{what} needs {needed} bytes, but only {rest} follow",
        "download_again": (
            "Specify a different model, or delete the file and download it again with `tuneworthy models pull MODEL`."
        ),
    },
).say
