# Remove the markers of requirements that hold in all locked environments, so that a marker means a difference.
# uv writes the environments of pyproject.toml after each requirement, and PyPy, which none of them is.
/^[a-z0-9]/ {
  gsub(/ and [a-z_]*implementation[a-z_]* != 'PyPy'/, "")
  darwin = "(python_full_version < '3.14' and platform_machine == 'arm64' and sys_platform == 'darwin')"
  linux = "(python_full_version < '3.14' and platform_machine == 'x86_64' and sys_platform == 'linux')"
  marker = " ; " darwin " or " linux
  start = index($0, marker)
  if (start) $0 = substr($0, 1, start - 1) substr($0, start + length(marker))
}
{ print }
