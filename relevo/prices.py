"""List prices of Azure, as they were known on one day: data for an estimate, not an offer.

Pay-as-you-go in US dollars, region East US, as remembered from the services' pricing pages
(https://azure.microsoft.com/pricing/), not fetched from them, and rounded. Other regions differ, mostly
upwards and by up to a third; reservations and agreements lower them. To be checked with
https://azure.microsoft.com/pricing/calculator/ before somebody relies on a figure.
"""

from __future__ import annotations

from collections.abc import Mapping

AS_OF = "2025-06"
CURRENCY = "USD"
REGION = "eastus"
SOURCE = "Azure pricing pages"
HOURS = 730  # of a month, as Azure's calculator counts

# App Service on Linux, a worker a month.
PLANS: Mapping[str, float] = {
    "B1": 13,
    "B2": 26,
    "B3": 52,
    "S1": 69,
    "S2": 139,
    "S3": 277,
    "P1v2": 84,
    "P2v2": 168,
    "P3v2": 336,
    "P0v3": 62,
    "P1v3": 113,
    "P2v3": 226,
    "P3v3": 453,
    "P1mv3": 136,
    "P2mv3": 272,
    "P3mv3": 543,
    "P4mv3": 1086,
    "P5mv3": 2172,
}
# PostgreSQL flexible server: Burstable by size, the others by core; a month.
BURSTABLE: Mapping[str, float] = {
    "Standard_B1ms": 12,
    "Standard_B2s": 50,
    "Standard_B2ms": 99,
    "Standard_B4ms": 199,
    "Standard_B8ms": 397,
    "Standard_B12ms": 596,
    "Standard_B16ms": 794,
    "Standard_B20ms": 993,
}
DATABASE_CORE: Mapping[str, float] = {"GeneralPurpose": 65, "MemoryOptimized": 87}
DATABASE_GIB = 0.115
GEO_BACKUP_GIB = 0.19  # both copies, of what is beyond the provisioned size
# Azure Managed Redis, one node a month. The least certain figures here.
CACHE_NODE: Mapping[str, float] = {
    "Balanced_B0": 13,
    "Balanced_B1": 26,
    "Balanced_B3": 50,
    "Balanced_B5": 82,
    "Balanced_B10": 132,
    "Balanced_B20": 266,
}
FRONT_DOOR: Mapping[str, float] = {"Standard": 35, "Premium": 330}
FRONT_DOOR_MILLION_REQUESTS: Mapping[str, float] = {"Standard": 0.9, "Premium": 1.5}
FRONT_DOOR_GB = 0.083
REGISTRY_PREMIUM = 50
PRIVATE_ENDPOINT = 7.3
PRIVATE_ZONE = 0.5
LOGS_GB = 2.3
LOGS_KEPT_GB_MONTH = 0.1  # beyond the first 31 days
# Container Apps, Consumption: a core and its 2 GiB of memory for an hour.
CONTAINER_CORE_HOUR = 0.108
BLOB_GB: Mapping[str, float] = {
    "Standard_LRS": 0.018,
    "Standard_ZRS": 0.023,
    "Standard_GRS": 0.037,
    "Standard_GZRS": 0.041,
}
METRIC_ALERT = 0.1
LOG_ALERT = 0.5
