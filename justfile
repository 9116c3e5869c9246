# Recipes for people who work on Millrace; `just` lists them.

default:
    @just --list

# Build and start the product.
up *options:
    cargo run --release -- up {{options}}

# The fast tests.
test:
    cargo test --profile quick --workspace --features spark

# All tests: also those that start servers, browsers and other programs.
test-all:
    cargo test --profile quick --workspace --features spark -- --include-ignored

# Style.
lint:
    cargo fmt --check
    cargo clippy --release --workspace --features spark --all-targets -- -D warnings

# Everything CI runs.
ci:
    .ci/run
