def a():
  1if b:  def c(): \
 1
 \

