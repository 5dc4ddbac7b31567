from .a import (b as c, # d
 e,)
from ... import f; import g.h as i, j
from k import *
l = m.n
try:
 from o import p\
 , q
except: pass
