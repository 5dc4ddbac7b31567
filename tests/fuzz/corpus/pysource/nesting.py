@a
@b(
 1)
class A(B):
	async def f(self, x=lambda: 1):
		def g(): return [1,
2]
		return g

	# end
	def h(self): pass
if A:
  def i():
    '''def no():
'''
else: j = A.f
