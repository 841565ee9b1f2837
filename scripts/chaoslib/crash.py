"""scripts/chaos crash: crash points of the real binary."""
import argparse


def main(arguments):
    argparse.ArgumentParser(prog="scripts/chaos crash", description=__doc__).parse_args(arguments)
    return 0
