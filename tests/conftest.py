"""No test measures the machine unless it means to."""

import os

os.environ["PENSTOCK_PROBE"] = "off"
