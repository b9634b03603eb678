"""Make releases, keep a TUF repository of them, and say which devices are offered which one.

A staging folder holds what was published and what is waiting: it is staged (add, promote, withdraw), signed offline by whoever holds a
role's key (sign), and published with the online keys. Any file server, an object store or a stick serves the result.
"""

from __future__ import annotations

import argparse

from sealwright.cli import releaseaccept, releasemake, releasepublish, releaseroles, releasestatus

EXAMPLES = """examples:
  sealwright release create 1.4.2 --home home --product "VX-200 drive" --generation 7 --hardware vx-200
  sealwright release create 1.4.2 --home home --product "VX-200 drive" --generation 7 --allow 'test/demo.key=public test vector'
  sealwright release init desk --home home --root repo-root --targets repo-targets --online repo-online --line drives
  sealwright release init desk --home home --root repo-root --root eva.pem --root-threshold 2 --targets repo-targets --online repo-online --line drives
  sealwright release line desk gateways --key repo-targets --home home
  sealwright release rotate desk root --key repo-root --key jan.pem --threshold 2 --home home
  sealwright release renew desk root targets drives
  sealwright release sign desk --home eva-home                          every staged role that her keys may sign
  sealwright release sign desk drives --service https://sign.acme.example:8443 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright release add desk 1.4.2 --to drives/vx-200 --trust trust.toml
  sealwright release publish desk --home home --dry-run
  sealwright release publish desk --home home
  sealwright release promote desk drives/vx-200 1.4.2 --channel pilot --percent 10 --group line-1
  sealwright release withdraw desk drives/vx-200 1.4.1 --advisory CVE-2026-1234
  sealwright release refresh desk --home home                           for cron: a new timestamp
  sealwright release status desk --within 30d
  sealwright release status desk --reports /srv/transfer/couriers --devices devices.txt --couriers sent      what came back over the gap
  sealwright release status desk --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright release accept 1.4.2 --home plant-home --trust trust.toml --before 1.4.1
  sealwright release accept --all production --repository https://updates.acme.example --product drives/vx-200 --into releases --desk plant-desk --promote production --home plant-home --trust trust.toml
  sealwright release add plant-desk 1.4.2 1.4.3 --to drives/vx-200 --accepted-only --trust trust.toml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions: making, roles, publishing, looking, accepting."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    releasemake.configure(commands, EXAMPLES)
    releaseroles.configure(commands, EXAMPLES)
    releasepublish.configure(commands, EXAMPLES)
    releasestatus.configure(commands, EXAMPLES)
    releaseaccept.configure(commands, EXAMPLES)
