"""Objects as source files: releases that know every object's past, upgrades from any release to any later one."""
