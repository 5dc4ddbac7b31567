a = f"{x["k"]!r:>{w}} {{}} \N{DASH}" rb'\'' F"""{
1 # c"
:{2}}"""
b = rf'\{x}' f'{d["k"]:'
t = t"{a:{b:{c}}}"
u = 'open
